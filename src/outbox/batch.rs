//! [`Batch`]: the messages that one system call sends. [`Rest`]: what is left of one.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::Wire;

/// How many messages go into one system call.
pub(super) const MAX_BATCH: usize = 16;

pub(super) struct Batch<W> {
    pub(super) wire: Arc<W>,
    /// How many bytes of the first message are sent.
    first_sent: usize,
    messages: [Option<Arc<[u8]>>; MAX_BATCH],
}

impl<W: Wire> Batch<W> {
    /// The first of these messages, as many as fit.
    pub(super) fn new<'a>(wire: Arc<W>, first_sent: usize, queue: impl Iterator<Item = &'a Arc<[u8]>>) -> Batch<W> {
        let mut queue = queue.map(Arc::clone);
        Batch { wire, first_sent, messages: std::array::from_fn(|_| queue.next()) }
    }

    /// The bytes that are to be sent, message by message.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut first_sent = self.first_sent;
        self.messages
            .iter()
            .flatten()
            .map(move |message| message.get(std::mem::take(&mut first_sent)..).unwrap_or_default())
    }

    pub(super) fn length(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    /// # Errors
    ///
    /// Those of [`Wire::send`].
    pub(super) fn send(&self) -> io::Result<usize> {
        let mut parts = [IoSlice::new(&[]); MAX_BATCH];
        let mut count = 0;
        for (place, part) in parts.iter_mut().zip(self.parts()) {
            *place = IoSlice::new(part);
            count += 1;
        }
        self.wire.send(parts.get(..count).unwrap_or_default())
    }
}

/// The rest of a message. Not copied, because a message may be long and is shared.
pub(crate) struct Rest {
    message: Option<Arc<[u8]>>,
    /// How many bytes of the message are sent.
    first_sent: usize,
}

impl Rest {
    pub(super) fn new(message: Option<Arc<[u8]>>, first_sent: usize) -> Rest {
        Rest { message, first_sent }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.message.as_ref().and_then(|message| message.get(self.first_sent..)).unwrap_or_default()
    }
}
