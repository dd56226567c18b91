"""What every part uses and what knows nothing of them: errors, files, progress, the machine, ranks."""
