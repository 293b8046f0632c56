//! The durable store: records with versions, blobs, the event history.
