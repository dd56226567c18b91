"""The parts of SAM2 that samsod uses: the only folder that imports `sam2`."""
