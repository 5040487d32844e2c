"""What file sync does: every change of a run's state is a conditional update in here.

Views, admin, tasks, commands and signals call these functions and write nothing themselves.
"""
