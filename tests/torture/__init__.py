"""What machines and strangers may do to a run and its files, with figures: ``make torture``.

Each module has functions that return how often what happened; ``tests/test_torture.py`` runs a
short form of each.
"""
