"""Other people's files, read into the nouns of stepmark and written back. One module per format."""
