//! API Gateway REST APIs: every noun with its operations, and the snapshot a deployment freezes.
