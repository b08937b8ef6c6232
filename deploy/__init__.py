"""Deployment: trained agents and controllers inside other systems."""
