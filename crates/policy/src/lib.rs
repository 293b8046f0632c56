//! The IAM policy language: ARNs, documents, conditions, evaluation.
