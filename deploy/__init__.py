"""What users run in production: trained agents and controllers inside other systems."""
