"""When things run: cron, PeriodicTask rows and beat, and nothing of files."""
