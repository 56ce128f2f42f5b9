"""Lines of logs: prefixes, and what drivers, the kernel and collective libraries write of faults.

The same readers serve the agent, which follows logs, and `accelwatch scan`, which reads saved ones.
"""
