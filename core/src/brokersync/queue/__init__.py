"""The queue: the seam to a job engine, the embedded engine, the planner, and the worker that runs jobs."""
