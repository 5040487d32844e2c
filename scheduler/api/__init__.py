"""The REST API of the scheduler: refresh, clear, validate; serializers that refuse the unknown."""
