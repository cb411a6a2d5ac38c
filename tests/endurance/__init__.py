"""MongoDB away for long, under full load: nothing is lost, and no program's memory grows (`make endurance`)."""
