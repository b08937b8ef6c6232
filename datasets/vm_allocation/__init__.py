"""Data centers over days: instances, traces, loaders, generators and sets."""
