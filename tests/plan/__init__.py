"""What fits: devices, the roofline, plans."""
