//! The seam every AWS operation is written against.
