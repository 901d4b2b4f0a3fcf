"""Side effects: starting processes, writing artifacts, and one leaf a job."""
