//! Raw sound samples in the application's format.

use super::RawError;

/// A chunk of sound of any length, channels interleaved.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RawSound<'a> {
    /// Float samples from −1 to 1; values beyond are clipped.
    F32(&'a [f32]),
    /// Signed 16-bit samples.
    I16(&'a [i16]),
}

impl<'a> From<&'a [f32]> for RawSound<'a> {
    fn from(samples: &'a [f32]) -> RawSound<'a> {
        RawSound::F32(samples)
    }
}

impl<'a> From<&'a [i16]> for RawSound<'a> {
    fn from(samples: &'a [i16]) -> RawSound<'a> {
        RawSound::I16(samples)
    }
}

impl RawSound<'_> {
    /// Number of values, of all channels together.
    pub(crate) fn len(&self) -> usize {
        match self {
            RawSound::F32(samples) => samples.len(),
            RawSound::I16(samples) => samples.len(),
        }
    }

    /// Checks that the chunk holds whole samples of `channels` channels, and only finite values.
    ///
    /// # Errors
    /// [`RawError::Length`], [`RawError::NotFinite`].
    pub(crate) fn check(&self, channels: usize) -> Result<(), RawError> {
        let len = self.len();
        if len == 0 || !len.is_multiple_of(channels) {
            return Err(RawError::Length { len, channels });
        }
        let RawSound::F32(samples) = self else { return Ok(()) };
        match samples.iter().position(|sample| !sample.is_finite()) {
            Some(at) => Err(RawError::NotFinite { at, value: samples[at].to_string() }),
            None => Ok(()),
        }
    }

    /// Appends the samples as f32 from −1 to 1, the form that encoders take.
    pub(crate) fn append_to(&self, to: &mut Vec<f32>) {
        match self {
            RawSound::F32(samples) => to.extend(samples.iter().map(|sample| sample.clamp(-1.0, 1.0))),
            RawSound::I16(samples) => to.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0)),
        }
    }
}
