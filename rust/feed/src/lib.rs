//! The console's receiving end of the market bus: messages in, features and history kept, frames out.
