//! Fill levels of the body's tables. None grows with the audience, with time, or by what peers send.

use plenary_proto::bounded::Bound;

use crate::body::Body;

/// Maximum number of links that the links of a peer allow (`links_max` of `plenary-rtc`).
const LINKS_MAX: usize = 512;

impl Body {
    /// Returns the fill levels of all tables, those of the brain included.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> {
        let media = self.media.bounds();
        let linked = [
            ("links", self.media.links.all().count()),
            ("peers with measured round trips", self.heartbeats.peers()),
            ("peers that were heard of", self.told_heard_us.len()),
            ("speakers called home", self.called.len()),
        ];
        let linked = linked.map(|(of, len)| Bound { of, len, max: LINKS_MAX });
        self.brain.bounds().chain(media).chain(linked)
    }
}
