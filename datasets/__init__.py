"""What an instance is and where it comes from: types, loaders, generators, splits."""
