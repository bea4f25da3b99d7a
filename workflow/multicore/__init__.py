from workflow.multicore.grants import BadGrant, Grant, granted, hold, use
