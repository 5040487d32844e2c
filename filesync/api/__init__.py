"""The REST API of file sync: resources, and the task routes."""
