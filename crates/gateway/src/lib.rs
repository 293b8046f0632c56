//! The data plane: a request through typed stages to an answer.
