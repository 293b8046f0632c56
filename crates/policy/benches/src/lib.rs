//! Nothing but the place the benchmark hangs on.
