"""What a predictor is used for: answers of new data, and files that other programs run."""
