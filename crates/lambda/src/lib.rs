//! Lambda: functions, versions, permissions, and the port through which they are invoked.
