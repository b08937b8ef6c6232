"""Building blocks of learning-rate controllers: their base class, and schedules."""
