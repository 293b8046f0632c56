//! The operation table, generated from the AWS service models.
