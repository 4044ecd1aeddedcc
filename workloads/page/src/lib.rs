//! The page of a run: one HTML file that needs nothing else and asks for nothing.
//!
//! [`html`] makes it of a [`Subject`] (what was run, and what was said of it) and the history. It answers in
//! this order: did it hold, why not, was it tried hard enough, what happened, how is it seen again. Small
//! pictures are SVG drawn here ([`svg`]); what may have a million operations is drawn by the page's own
//! script on a canvas, of the columns that [`ops`] makes and [`planes`] packs. [`told`] tells the same
//! stories ([`story`]) in a terminal. [`lines()`] draws what was measured over time. Knows nothing of Dynamo.
//!
//! Everything that comes from a user or a store stands in the page as text: `maud` escapes it, and the data
//! for the script has no `<` in it. The policy in its head allows its own script and style, by their
//! hashes, and nothing else.

mod assets;
mod faults;
mod findings;
mod html;
mod lines;
mod ops;
mod planes;
mod signature;
mod space_time;
mod story;
mod subject;
mod svg;
mod text;
mod versions;
pub mod words;

pub use assets::{STYLE, hash};
pub use faults::{Band, bands};
pub use html::html;
pub use lines::{Line, Panel, Stretch, lines};
pub use signature::{Sighting, Signature, sightings};
pub use story::witness;
pub use subject::{Carried, FaultRow, Part, Subject};
pub use text::{Asked, Told, told};
