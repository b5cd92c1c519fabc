"""What an experiment is: every key with its type and limits, and how a config becomes one."""
