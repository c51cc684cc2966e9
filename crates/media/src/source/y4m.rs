//! YUV4MPEG2 reader: raw pictures of 8 bits in 4:2:0, 4:2:2, 4:4:4 or grey. A source of pictures alone.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use y4m::{Colorspace, Decoder, Error, Frame, Limits};

use super::reader::{Opened, PictureReader, SIDE_MAX, even_size};
use super::{SourceFault, SourcePictures};
use crate::{Picture, PictureView};

/// Maximum memory of one picture in bytes: 4:4:4 at the largest size.
const PICTURE_BYTES_MAX: usize = SIDE_MAX * SIDE_MAX * 3;
/// Buffer of the file in bytes; the parser reads the header byte by byte.
const BUFFER_LEN: usize = 1 << 18;

pub(super) fn open(path: &Path) -> Result<Opened, SourceFault> {
    let mut pictures = Y4mPictures::new(path.to_owned())?;
    pictures.read()?;
    pictures.number = None;
    pictures.reader = reader(path)?;
    Ok(Opened { pictures: Some(Box::new(pictures)), sound: None })
}

type Reader = Decoder<BufReader<File>>;

struct Y4mPictures {
    path: std::path::PathBuf,
    reader: Reader,
    /// Pictures per second, as numerator and denominator.
    rate: (u64, u64),
    /// Whether the file has full-range samples, which are converted to limited range.
    full_range: bool,
    /// Number of the current picture, counted over all rounds.
    number: Option<u64>,
    picture: Picture,
}

fn reader(path: &Path) -> Result<Reader, SourceFault> {
    let file = BufReader::with_capacity(BUFFER_LEN, File::open(path)?);
    Decoder::new_with_limits(file, Limits { bytes: PICTURE_BYTES_MAX }).map_err(fault)
}

impl Y4mPictures {
    fn new(path: std::path::PathBuf) -> Result<Y4mPictures, SourceFault> {
        let reader = reader(&path)?;
        let (width, height) = even_size(reader.get_width(), reader.get_height())?;
        if reader.get_bit_depth() != 8 {
            let found = format!("Y4M with {}-bit samples", reader.get_bit_depth());
            return Err(SourceFault::Unsupported { found, wanted: "samples must have 8 bits" });
        }
        let rate = reader.get_framerate();
        let rate = match (rate.num as u64, rate.den as u64) {
            (num, den) if den > 0 && (den..=den.saturating_mul(1000)).contains(&num) => (num, den),
            // 0:0 means an unknown frame rate
            (0, _) => (25, 1),
            (num, den) => return Err(damaged(format!("{num}:{den} pictures per second"))),
        };
        let mut params = reader.get_raw_params().split(|&byte| byte == b' ');
        let full_range = params.any(|param| param == b"XCOLORRANGE=FULL");
        let picture = Picture::black(width, height);
        Ok(Y4mPictures { path, reader, rate, full_range, number: None, picture })
    }

    /// Reads one picture; after the last one, restarts with the first.
    fn read(&mut self) -> Result<(), SourceFault> {
        for again in [false, true] {
            if again {
                self.reader = reader(&self.path)?;
            }
            let (width, colours) = (self.reader.get_width(), self.reader.get_colorspace());
            match self.reader.read_frame() {
                Ok(frame) => {
                    copy(&frame, width, colours, &mut self.picture);
                    if self.full_range {
                        self.picture.planes_mut().into_iter().zip([LUMA, CHROMA, CHROMA]).for_each(limit);
                    }
                    return Ok(());
                }
                Err(Error::EOF) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Err(damaged("no whole picture".to_owned()))
    }
}

impl PictureReader for Y4mPictures {
    fn pictures(&self) -> SourcePictures {
        let fps = self.rate.0 as f64 / self.rate.1 as f64;
        SourcePictures { width: self.picture.width(), height: self.picture.height(), fps }
    }

    fn advance(&mut self) -> Result<u64, SourceFault> {
        self.read()?;
        let number = self.number.map_or(0, |number| number + 1);
        self.number = Some(number);
        Ok((u128::from(number) * 1_000_000 * u128::from(self.rate.1) / u128::from(self.rate.0)) as u64)
    }

    fn picture(&self) -> PictureView<'_> {
        self.picture.view()
    }
}

/// Copies a picture of any supported colour space, without an odd last column or row; finer chroma is
/// averaged down to 4:2:0.
fn copy(frame: &Frame<'_>, width: usize, colours: Colorspace, picture: &mut Picture) {
    let (to_width, to_half) = (picture.width(), picture.width() / 2);
    let [luma, cb, cr] = picture.planes_mut();
    for (to, from) in luma.chunks_exact_mut(to_width).zip(frame.get_y_plane().chunks_exact(width)) {
        to.copy_from_slice(&from[..to_width]);
    }
    // chroma samples of the file per sample of the picture, horizontally and vertically
    let (across, down) = match colours {
        Colorspace::C444 => (2, 2),
        Colorspace::C422 => (1, 2),
        _ => (1, 1),
    };
    let chroma_width = if across == 2 { width } else { width.div_ceil(2) };
    for (to, from) in [(cb, frame.get_u_plane()), (cr, frame.get_v_plane())] {
        if from.is_empty() {
            to.fill(128);
            continue;
        }
        let rows = from.chunks(chroma_width * down);
        for (to, from) in to.chunks_exact_mut(to_half).zip(rows) {
            for (x, sample) in to.iter_mut().enumerate() {
                let covered =
                    from.chunks_exact(chroma_width).flat_map(|row| &row[x * across..(x + 1) * across]);
                let (sum, count) =
                    covered.fold((0, 0), |(sum, count), sample| (sum + u32::from(*sample), count + 1));
                *sample = ((sum + count / 2) / count.max(1)) as u8;
            }
        }
    }
}

/// Conversion from full range: zero level there, zero level in limited range, and the steps of limited range
/// for 255 of full range.
const LUMA: (i32, i32, i32) = (0, 16, 219);
const CHROMA: (i32, i32, i32) = (128, 128, 224);

fn limit((plane, (zero, limited_zero, steps)): (&mut [u8], (i32, i32, i32))) {
    for sample in plane {
        let value = (i32::from(*sample) - zero) * steps;
        *sample = (limited_zero + (value + 127 * value.signum()) / 255) as u8;
    }
}

fn fault(error: Error) -> SourceFault {
    match error {
        Error::IoError(error) => SourceFault::Io(error),
        Error::EOF => damaged("cut off in its header".to_owned()),
        Error::UnknownColorspace => SourceFault::Unsupported {
            found: "this colour space of Y4M".to_owned(),
            wanted: "it must be 420, 422, 444 or mono",
        },
        Error::OutOfMemory => damaged("its pictures are too large".to_owned()),
        error => damaged(error.to_string()),
    }
}

fn damaged(reason: String) -> SourceFault {
    SourceFault::Damaged { container: "Y4M", reason }
}
