//! Execution environments: the processes functions run in.
