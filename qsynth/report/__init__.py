"""What a run's folder says: events, figures, pages, and estimates beforehand."""
