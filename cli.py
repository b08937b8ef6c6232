"""The command line: sysopt-gym list | data | solve | validate | train | compare | bench | doctor."""


def main() -> None:
    """Entry point."""
