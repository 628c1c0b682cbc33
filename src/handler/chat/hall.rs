//! The hall: who is here, and in which rooms. It is the state that all members share, behind one lock; nothing here does
//! any I/O. What members learn of each other is queued in their outboxes under that lock, so all see it in the same order,
//! and sent when it is released: see [`Mail`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::event::{Dialect, Event, Kind, Person, Rendered};
use super::mail::Mail;
use super::name::{Key, Name};
use crate::Outbox;

/// In rooms of more members than this nobody is told who comes and goes.
const ANNOUNCED_UP_TO: usize = 50;

/// A member is in at most this many rooms at once.
pub(super) const ROOMS_AT_MOST: usize = 20;

/// A member ignores at most this many others.
const IGNORED_AT_MOST: usize = 100;

/// A room remembers at most this many lines, and this many bytes of them.
const REMEMBERED_LINES: usize = 100;
const REMEMBERED_BYTES: usize = 64 * 1024;

/// What a remembered line costs besides its bytes, and counts for.
const EACH_LINE: usize = 80;

/// When there are many rooms, each remembers this divided by their number: what it had before, until something is said in
/// it again.
const REMEMBERED_IN_ALL: usize = 16 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Hall {
    members: HashMap<u64, Member>,
    names: HashMap<Key, u64>,
    rooms: BTreeMap<Key, Room>,
    guests: u64,
    /// How many seats have been taken, ever.
    seats: u64,
}

pub(super) struct Member {
    id: u64,
    pub(super) person: Person,
    pub(super) real_name: String,
    pub(super) away: Option<String>,
    pub(super) since: Timestamp,
    pub(super) last_spoke: Instant,
    /// In the order in which they were entered.
    pub(super) rooms: Vec<Key>,
    ignored: Arc<HashSet<u64>>,
    dialect: Dialect,
    outbox: Outbox,
}

pub(super) struct Room {
    pub(super) name: Name,
    pub(super) topic: Option<Topic>,
    pub(super) since: Timestamp,
    /// In the order in which they came.
    seats: Arc<Vec<Seat>>,
    past: Past,
}

pub(super) struct Topic {
    pub(super) text: String,
    pub(super) by: String,
    pub(super) at: Timestamp,
}

/// A member's place in a room, with what is needed to send to it.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) id: u64,
    /// Who came later has a higher one.
    pub(super) number: u64,
    pub(super) outbox: Outbox,
    dialect: Dialect,
    ignored: Arc<HashSet<u64>>,
}

/// Somebody in a room.
pub(super) type Seated<'a> = (&'a Seat, &'a Member);

/// The last lines that were said in a room.
#[derive(Default)]
struct Past {
    lines: VecDeque<(Timestamp, String)>,
    bytes: usize,
    /// The number of the next line, of all that were ever said.
    next: u64,
}

/// Why something can't be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody else has that name.
    Taken,
    /// There is no such member.
    Nobody,
    /// There is no such room.
    NoRoom,
    /// The member is not in that room.
    NotInRoom,
    /// The other one is not in that room.
    NotThere,
    /// Only the first member of a room may.
    NotFirst,
    /// There are enough already.
    TooMany,
}

impl Hall {
    /// Somebody new, who is in no room yet. Without a name they are a guest with a number.
    ///
    /// # Errors
    ///
    /// `Taken`.
    pub(super) fn enter(
        &mut self,
        id: u64,
        name: Option<Name>,
        dialect: Dialect,
        outbox: Outbox,
    ) -> Result<Name, Refusal> {
        let name = name.unwrap_or_else(|| self.guest());
        if self.is_taken(&name) {
            return Err(Refusal::Taken);
        }
        let person = Person { user: format!("~{}", name.as_str().to_ascii_lowercase()), name: name.clone() };
        let member = Member {
            id,
            person,
            real_name: name.as_str().to_owned(),
            away: None,
            since: Timestamp::now(),
            last_spoke: Instant::now(),
            rooms: Vec::new(),
            ignored: Arc::default(),
            dialect,
            outbox,
        };
        self.names.insert(name.key(), id);
        self.members.insert(id, member);
        Ok(name)
    }

    fn guest(&mut self) -> Name {
        loop {
            self.guests += 1;
            let name = Name::of_member(&format!("guest{}", self.guests));
            if let Some(name) = name.filter(|name| !self.is_taken(name)) {
                return name;
            }
        }
    }

    /// Whether nobody else can have that name.
    pub(super) fn is_taken(&self, name: &Name) -> bool {
        name.is_reserved() || self.names.contains_key(&name.key())
    }

    /// Somebody leaves for good.
    pub(super) fn quit(&mut self, id: u64, reason: &str, mail: &mut Mail) {
        let Some(member) = self.members.get(&id) else { return };
        self.tell_acquaintances(id, Event::Quit { reason }, mail);
        for key in member.rooms.clone() {
            self.take_seat_away(id, &key, mail);
        }
        if let Some(member) = self.members.remove(&id) {
            self.names.remove(&member.person.name.key());
        }
    }

    /// # Errors
    ///
    /// `Taken`.
    pub(super) fn rename(&mut self, id: u64, name: Name, mail: &mut Mail) -> Result<(), Refusal> {
        let Some(member) = self.members.get(&id) else { return Err(Refusal::Nobody) };
        if member.person.name == name {
            return Ok(());
        }
        let before = member.person.name.key();
        if name.key() != before && self.is_taken(&name) {
            return Err(Refusal::Taken);
        }
        let event = Event::Renamed { to: &name };
        self.tell_acquaintances(id, event, mail);
        if member.dialect.is_irc() {
            member.send(event, member, mail);
        }
        self.names.remove(&before);
        self.names.insert(name.key(), id);
        if let Some(member) = self.members.get_mut(&id) {
            member.person.name = name;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `TooMany` rooms.
    pub(super) fn join(&mut self, id: u64, name: &Name, mail: &mut Mail) -> Result<(), Refusal> {
        let Some(member) = self.members.get_mut(&id) else { return Err(Refusal::Nobody) };
        let key = name.key();
        if member.rooms.contains(&key) {
            return Ok(());
        }
        if member.rooms.len() >= ROOMS_AT_MOST {
            return Err(Refusal::TooMany);
        }
        member.rooms.push(key.clone());
        let room = self.rooms.entry(key).or_insert_with(|| Room::new(name.clone()));
        self.seats += 1;
        let seat = Seat {
            id,
            number: self.seats,
            outbox: member.outbox.clone(),
            dialect: member.dialect,
            ignored: Arc::clone(&member.ignored),
        };
        Arc::make_mut(&mut room.seats).push(seat);
        let event = Event::Joined { room: &room.name };
        if room.is_announced() {
            room.spread(event, member, Some(id), mail);
        }
        if member.dialect.is_irc() {
            member.send(event, member, mail);
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `NoRoom`, `NotInRoom`.
    pub(super) fn part(&mut self, id: u64, key: &Key, reason: &str, mail: &mut Mail) -> Result<(), Refusal> {
        let (member, room) = self.seated(id, key)?;
        let event = Event::Left { room: &room.name, reason };
        if room.is_announced() {
            room.spread(event, member, Some(id), mail);
        }
        if member.dialect.is_irc() {
            member.send(event, member, mail);
        }
        self.take_seat_away(id, key, mail);
        Ok(())
    }

    /// # Errors
    ///
    /// `NoRoom`, `NotInRoom`, `NotFirst`, `NotThere`.
    pub(super) fn kick(
        &mut self,
        id: u64,
        key: &Key,
        whom: &Key,
        reason: &str,
        mail: &mut Mail,
    ) -> Result<(), Refusal> {
        let (member, room) = self.seated(id, key)?;
        if room.first() != Some(id) {
            return Err(Refusal::NotFirst);
        }
        let (other_id, other) =
            self.find(whom).filter(|(_, other)| other.rooms.contains(key)).ok_or(Refusal::NotThere)?;
        let event = Event::Kicked { room: &room.name, whom: &other.person.name, reason };
        room.spread(event, member, None, mail);
        self.take_seat_away(other_id, key, mail);
        Ok(())
    }

    /// Says something to a room. Who says it gets it back with `echo`.
    ///
    /// # Errors
    ///
    /// `NoRoom`, `NotInRoom`.
    pub(super) fn say(
        &mut self,
        id: u64,
        key: &Key,
        kind: Kind,
        text: &str,
        echo: bool,
        mail: &mut Mail,
    ) -> Result<(), Refusal> {
        self.seated(id, key)?;
        let most = REMEMBERED_BYTES.min(REMEMBERED_IN_ALL / self.rooms.len());
        let (Some(member), Some(room)) = (self.members.get_mut(&id), self.rooms.get_mut(key)) else {
            return Err(Refusal::NoRoom);
        };
        member.last_spoke = Instant::now();
        let event = Event::Said { kind, room: &room.name, text };
        let at = room.spread(event, member, (!echo).then_some(id), mail);
        let line = event.plain(&member.person);
        room.past.add(at, line, most);
        Ok(())
    }

    /// Says something to one member alone. Who they are, and why they may not answer.
    ///
    /// # Errors
    ///
    /// `Nobody`.
    pub(super) fn tell(
        &mut self,
        id: u64,
        whom: &Key,
        kind: Kind,
        text: &str,
        echo: bool,
        mail: &mut Mail,
    ) -> Result<(Name, Option<String>), Refusal> {
        let member = self.members.get(&id).ok_or(Refusal::Nobody)?;
        let (_, other) = self.find(whom).ok_or(Refusal::Nobody)?;
        let event = Event::Told { kind, to: &other.person.name, text };
        if !other.ignored.contains(&id) {
            other.send(event, member, mail);
        }
        if echo {
            member.send(event, member, mail);
        }
        let told = (other.person.name.clone(), other.away.clone());
        if let Some(member) = self.members.get_mut(&id) {
            member.last_spoke = Instant::now();
        }
        Ok(told)
    }

    /// Sets a room's topic; empty: removes it.
    ///
    /// # Errors
    ///
    /// `NoRoom`, `NotInRoom`.
    pub(super) fn set_topic(&mut self, id: u64, key: &Key, text: &str, mail: &mut Mail) -> Result<(), Refusal> {
        let (member, room) = self.seated(id, key)?;
        room.spread(Event::Topic { room: &room.name, text }, member, None, mail);
        let by = member.person.name.to_string();
        if let Some(room) = self.rooms.get_mut(key) {
            room.topic = (!text.is_empty()).then(|| Topic { text: text.to_owned(), by, at: Timestamp::now() });
        }
        Ok(())
    }

    /// Ignores somebody, or ignores them no more: which of the two it is now.
    ///
    /// # Errors
    ///
    /// `Nobody`, `TooMany`.
    pub(super) fn ignore(&mut self, id: u64, whom: &Key) -> Result<(Name, bool), Refusal> {
        let (other, name) =
            self.find(whom).map(|(id, other)| (id, other.person.name.clone())).ok_or(Refusal::Nobody)?;
        let ignored = self.members.get(&id).map(|member| Arc::clone(&member.ignored)).unwrap_or_default();
        let gone: Vec<u64> = ignored.iter().copied().filter(|other| !self.members.contains_key(other)).collect();
        let member = self.members.get_mut(&id).ok_or(Refusal::Nobody)?;
        let ignored = Arc::make_mut(&mut member.ignored);
        ignored.retain(|other| !gone.contains(other));
        let is_new = !ignored.remove(&other);
        if is_new && ignored.len() >= IGNORED_AT_MOST {
            return Err(Refusal::TooMany);
        }
        if is_new {
            ignored.insert(other);
        }
        self.renew_seats(id);
        Ok((name, is_new))
    }

    /// Answers a member by way of its outbox, and so before what the others say from now on.
    pub(super) fn answer(&self, id: u64, text: String, mail: &mut Mail) {
        if let Some(member) = self.members.get(&id).filter(|_| !text.is_empty()) {
            mail.note_member(&member.outbox, text.len());
            member.outbox.queue(text.into_bytes());
        }
    }

    pub(super) fn set_dialect(&mut self, id: u64, dialect: Dialect) {
        if let Some(member) = self.members.get_mut(&id) {
            member.dialect = dialect;
        }
        self.renew_seats(id);
    }

    pub(super) fn set_away(&mut self, id: u64, away: Option<String>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.away = away;
        }
    }

    /// What IRC's USER says.
    pub(super) fn introduce(&mut self, id: u64, user: String, real_name: String) {
        if let Some(member) = self.members.get_mut(&id) {
            member.person.user = user;
            member.real_name = real_name;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn member(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(super) fn find(&self, name: &Key) -> Option<(u64, &Member)> {
        let id = *self.names.get(name)?;
        Some((id, self.members.get(&id)?))
    }

    pub(super) fn room(&self, key: &Key) -> Option<&Room> {
        self.rooms.get(key)
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// The next rooms by name, at most `count`; `None`: from the first one on.
    pub(super) fn rooms_after(&self, last: Option<&Key>, count: usize) -> Vec<&Room> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.rooms.range::<Key, _>((start, Bound::Unbounded)).take(count).map(|(_, room)| room).collect()
    }

    /// Who is in a room and came after the seat of that number was taken, in the order in which they came; 0: everybody.
    pub(super) fn members_after<'a>(&'a self, room: &'a Room, last: u64) -> impl Iterator<Item = Seated<'a>> {
        let start = room.seats.partition_point(|seat| seat.number <= last);
        room.seats.iter().skip(start).filter_map(|seat| Some((seat, self.members.get(&seat.id)?)))
    }

    /// All who share a room with somebody, who is one of them, each once.
    pub(super) fn acquaintances(&self, id: u64) -> Vec<u64> {
        let rooms = self.members.get(&id).into_iter().flat_map(|member| &member.rooms);
        let seats = rooms.filter_map(|key| self.rooms.get(key)).flat_map(|room| room.seats.iter());
        let mut met = HashSet::new();
        seats.map(|seat| seat.id).filter(|&id| met.insert(id)).collect()
    }

    fn seated(&self, id: u64, key: &Key) -> Result<(&Member, &Room), Refusal> {
        let room = self.rooms.get(key).ok_or(Refusal::NoRoom)?;
        let member = self.members.get(&id).ok_or(Refusal::Nobody)?;
        if member.rooms.contains(key) { Ok((member, room)) } else { Err(Refusal::NotInRoom) }
    }

    /// Takes somebody out of a room. Another one may then be its first member, and a room that is empty is no more.
    fn take_seat_away(&mut self, id: u64, key: &Key, mail: &mut Mail) {
        if let Some(member) = self.members.get_mut(&id) {
            member.rooms.retain(|other| other != key);
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let first = room.first();
        Arc::make_mut(&mut room.seats).retain(|seat| seat.id != id);
        match room.first() {
            None => drop(self.rooms.remove(key)),
            Some(new) if first != Some(new) => {
                if let Some(member) = self.members.get(&new) {
                    room.spread(Event::Promoted { room: &room.name }, member, None, mail);
                }
            }
            Some(_) => {}
        }
    }

    /// Tells an event once to all who share a room with somebody, and not to that one.
    fn tell_acquaintances(&self, id: u64, event: Event<'_>, mail: &mut Mail) {
        let Some(member) = self.members.get(&id) else { return };
        let announced = |room: &&Room| !matches!(event, Event::Quit { .. }) || room.is_announced();
        let rooms: Vec<&Room> = member.rooms.iter().filter_map(|key| self.rooms.get(key)).filter(announced).collect();
        if let [room] = rooms.as_slice() {
            room.spread(event, member, Some(id), mail);
            return;
        }
        let mut rendered = Rendered::new(event, &member.person);
        let mut told = HashSet::from([id]);
        for room in rooms {
            for seat in room.seats.iter().filter(|seat| told.insert(seat.id)) {
                let lines = rendered.lines(seat.dialect);
                mail.note_member(&seat.outbox, lines.len());
                seat.outbox.queue(lines);
            }
        }
    }

    /// After a change of what a member's seats tell about it.
    fn renew_seats(&mut self, id: u64) {
        let Some(member) = self.members.get(&id) else { return };
        for key in &member.rooms {
            let Some(room) = self.rooms.get_mut(key) else { continue };
            if let Some(seat) = Arc::make_mut(&mut room.seats).iter_mut().find(|seat| seat.id == id) {
                seat.dialect = member.dialect;
                seat.ignored = Arc::clone(&member.ignored);
            }
        }
    }
}

impl Member {
    fn send(&self, event: Event<'_>, from: &Member, mail: &mut Mail) {
        let lines = Rendered::new(event, &from.person).lines(self.dialect);
        mail.note_member(&self.outbox, lines.len());
        self.outbox.queue(lines);
    }
}

impl Room {
    fn new(name: Name) -> Room {
        Room { name, topic: None, since: Timestamp::now(), seats: Arc::default(), past: Past::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether members are told who comes and goes.
    pub(super) fn is_announced(&self) -> bool {
        self.seats.len() <= ANNOUNCED_UP_TO
    }

    /// Who looks after the room: who has been there longest.
    pub(super) fn first(&self) -> Option<u64> {
        self.seats.first().map(|seat| seat.id)
    }

    /// The numbers of the lines that are remembered.
    pub(super) fn remembered(&self) -> Range<u64> {
        self.past.next - self.past.lines.len() as u64..self.past.next
    }

    /// The line of that number, and when it was said, unless it has been forgotten.
    pub(super) fn line(&self, number: u64) -> Option<&(Timestamp, String)> {
        self.past.lines.get(usize::try_from(number.checked_sub(self.remembered().start)?).ok()?)
    }

    /// Queues an event for all who are here, but for one, and for those who ignore who says something. When it was.
    fn spread(&self, event: Event<'_>, from: &Member, but: Option<u64>, mail: &mut Mail) -> Timestamp {
        let can_be_ignored = matches!(event, Event::Said { .. });
        let hears = |seat: &&Seat| Some(seat.id) != but && !(can_be_ignored && seat.ignored.contains(&from.id));
        let mut rendered = Rendered::new(event, &from.person);
        let mut longest = 0;
        for seat in self.seats.iter().filter(hears) {
            let lines = rendered.lines(seat.dialect);
            if !lines.is_empty() {
                longest = longest.max(lines.len());
                seat.outbox.queue(lines);
            }
        }
        mail.note_room(&self.seats, longest);
        rendered.at()
    }
}

impl Past {
    /// Remembers a line, and of those before as many as fit into that many bytes.
    fn add(&mut self, at: Timestamp, line: String, most: usize) {
        self.next += 1;
        self.bytes += line.len() + EACH_LINE;
        self.lines.push_back((at, line));
        while self.lines.len() > REMEMBERED_LINES || self.bytes > most {
            let Some((_, oldest)) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len() + EACH_LINE;
        }
    }
}
