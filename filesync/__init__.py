"""The application of syncing files: configs, storages, runs, their API and admin."""
