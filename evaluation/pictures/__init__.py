"""Pictures that a family adds to the report, one file a family."""
