//! The AWS wire: Signature Version 4, the four protocols, the operation table.
