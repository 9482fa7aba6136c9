"""What only the host calls: no application imports from here, and names may change with any version."""
