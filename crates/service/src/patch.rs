//! API Gateway's subset of JSON Patch (`patchOperations`), shared by every noun that has an Update operation.
