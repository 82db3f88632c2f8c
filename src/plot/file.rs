//! Files that pictures are written to.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use super::{Scene, raster, svg};
use crate::input::{Source, note};

/// So many links may lead to a file, as for the system itself.
const LINKS_MAX: usize = 40;

/// A file for a picture, whose name says what form it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PictureFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
}

/// Why a picture was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("cannot write {path}: {cause}", path = path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("the picture would replace {path}, which is an input", path = path.display())]
    IsInput { path: PathBuf },
}

impl PictureFile {
    /// From an argument of the command line.
    pub(crate) fn parse(argument: OsString) -> Result<Self, String> {
        let path = PathBuf::from(argument);
        let is = |wanted: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(wanted));
        let form = if is("svg") {
            Form::Svg
        } else if is("png") {
            Form::Png
        } else {
            return Err("expected a file name that ends in .svg or .png".to_owned());
        };
        Ok(Self { path, form })
    }

    /// Refuses, before the work, a file that could not be written after it, and one that the work is about.
    pub(crate) fn check(&self, inputs: &[&Source]) -> Result<(), PictureError> {
        let own = Source::File(self.path.clone());
        if inputs.iter().any(|input| input.is_same_file(&own)) {
            return Err(PictureError::IsInput { path: self.path.clone() });
        }
        let path = self.linked();
        match fs::metadata(folder(&path)) {
            Ok(found) if !found.is_dir() => Err(self.error(io::ErrorKind::NotADirectory.into())),
            Ok(_) if path.is_dir() => Err(self.error(io::ErrorKind::IsADirectory.into())),
            Ok(_) if path.exists() && !path.is_file() => {
                Err(self.error(io::Error::other("it is no regular file")))
            }
            Ok(_) => Ok(()),
            Err(cause) => Err(self.error(cause)),
        }
    }

    /// Writes a picture. The file is the former one until all of the new one is on the disk.
    pub(crate) fn write(&self, scene: &Scene) -> Result<(), PictureError> {
        let content = match self.form {
            Form::Svg => svg::document(scene).into_bytes(),
            Form::Png => {
                if let Some(letter) = raster::lacking(scene) {
                    let path = self.path.display();
                    note(format_args!(
                        "{path} has boxes for letters such as {letter}: a picture in .svg has them"
                    ));
                }
                raster::png(scene).map_err(|cause| self.error(cause))?
            }
        };
        let path = self.linked();
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", process::id()));
        let part = folder(&path).join(name);
        let written = write_new(&part, &content).and_then(|()| fs::rename(&part, &path));
        written.map_err(|cause| {
            // What is left of it is of no use; that it cannot be removed says nothing more than the cause.
            let _ = fs::remove_file(&part);
            self.error(cause)
        })
    }

    /// The file that symbolic links lead to, which stay as they are.
    fn linked(&self) -> PathBuf {
        let mut path = self.path.clone();
        for _ in 0..LINKS_MAX {
            let Ok(next) = fs::read_link(&path) else { break };
            path = folder(&path).join(next);
        }
        path
    }

    fn error(&self, cause: io::Error) -> PictureError {
        PictureError::Write { path: self.path.clone(), cause }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}
