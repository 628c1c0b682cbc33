//! The load: one thread, one epoll, many clients. Every byte that comes back is compared with what was sent.

mod message;
mod persistent;
mod poller;
mod sample;
mod short_lived;
mod stream;

pub use persistent::{beside_cpu_heavy, idle, newcomers, request_response};
pub use sample::Sample;
pub use short_lived::{burst, connect_echo_close};
pub use stream::stream;
