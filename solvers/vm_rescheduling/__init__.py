"""Solvers for VM rescheduling, one file a method."""
