"""Pictures that a family adds to the report, one file per family."""
