"""Tests of skyspine; they mirror the packages, and run on three databases (see conftest.py)."""
