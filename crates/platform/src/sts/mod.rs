//! STS: temporary credentials.
