"""Everything that speaks to Google."""
