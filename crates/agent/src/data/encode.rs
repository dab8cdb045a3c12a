//! Features of a data set, raw and as a model's tensor has them.

use std::num::NonZeroU16;

use windlass_api::agent::{Encoding, FailureReport, Feature, Signature};

use super::Dataset;

/// The raw values of one feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Of a number.
    Number(Vec<Option<f64>>),
    /// Of a category.
    Category(Vec<Option<String>>),
    /// Of a list of numbers.
    Vector {
        /// How many each has.
        length: NonZeroU16,
        /// The lists, of finite numbers.
        values: Vec<Option<Vec<f64>>>,
    },
}

/// A feature with its raw values.
#[derive(Clone, Debug, PartialEq)]
pub struct RawFeature {
    /// Its name.
    pub name: String,
    /// Its values, one a row.
    pub values: Values,
}

impl RawFeature {
    /// Reads a feature from a data set.
    ///
    /// # Errors
    /// Where the column is not there, or holds what is no number, or no list of numbers of the length, although the feature is
    /// one.
    pub fn read(data: &Dataset, feature: &Feature) -> Result<Self, FailureReport> {
        let name = &feature.name;
        let values = match feature.encoding {
            Encoding::Number => {
                let numbers = data.numbers(name)?;
                let is_infinite = |value: &Option<f64>| value.is_some_and(f64::is_infinite);
                if let Some(row) = numbers.iter().position(is_infinite) {
                    let problem = format!("row {} is infinite", data.first() + row);
                    return Err(data.about(name, &problem));
                }
                Values::Number(numbers)
            }
            Encoding::Category { .. } | Encoding::Text => Values::Category(data.texts(name)?),
            Encoding::Vector { length } => Values::Vector {
                length,
                values: data.vectors(name, usize::from(length.get()))?,
            },
        };
        Ok(Self {
            name: feature.name.clone(),
            values,
        })
    }
}

/// A model's input: rows × features, row by row. NaN stands for no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the protocol.
    pub name: String,
    /// Columns of a row.
    pub width: usize,
    /// The rows, one after the other.
    pub data: Vec<f64>,
}

impl Tensor {
    /// Encodes raw features, which are in the order of the signature.
    pub fn encode(signature: &Signature, features: &[RawFeature]) -> Self {
        let inputs = signature.inputs.iter();
        let widths: Vec<usize> = inputs.map(|input| input.encoding.width()).collect();
        let columns: Vec<Vec<f64>> = signature
            .inputs
            .iter()
            .zip(features)
            .map(
                |(input, feature)| match (&input.encoding, &feature.values) {
                    (_, Values::Vector { length, values }) => {
                        let none = vec![f64::NAN; usize::from(length.get())];
                        let rows = values.iter();
                        let rows = rows.map(|row| row.as_ref().unwrap_or(&none));
                        rows.flatten().copied().collect()
                    }
                    (_, Values::Number(numbers)) => numbers
                        .iter()
                        .map(|value| value.unwrap_or(f64::NAN))
                        .collect(),
                    (Encoding::Category { categories }, Values::Category(texts)) => {
                        let codes = code_of(categories);
                        texts
                            .iter()
                            .map(|text| text.as_ref().map_or(-1.0, |text| codes(text)))
                            .collect()
                    }
                    // A category that was read for another signature: no number is in it.
                    (
                        Encoding::Number | Encoding::Text | Encoding::Vector { .. },
                        Values::Category(texts),
                    ) => {
                        vec![f64::NAN; texts.len() * input.encoding.width()]
                    }
                },
            )
            .collect();
        let width = widths.iter().sum();
        let both = || columns.iter().zip(&widths);
        let rows = both()
            .next()
            .map_or(0, |(column, width)| column.len() / width);
        let data = (0..rows)
            .flat_map(|row| both().map(move |(column, width)| &column[row * width..][..*width]))
            .flatten()
            .copied()
            .collect();
        Self {
            name: signature.tensor.clone(),
            width,
            data,
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }
}

fn code_of(categories: &[String]) -> impl Fn(&str) -> f64 {
    let mut codes = std::collections::HashMap::new();
    for (code, category) in (0_u32..).zip(categories) {
        codes.entry(category.as_str()).or_insert(f64::from(code));
    }
    move |text| codes.get(text).copied().unwrap_or(-1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_encoded_in_the_order_of_the_signature() {
        let category = |names: &[&str]| Encoding::Category {
            categories: names.iter().map(|n| (*n).to_owned()).collect(),
        };
        let signature = Signature {
            inputs: vec![
                Feature {
                    name: "temp".to_owned(),
                    encoding: Encoding::Number,
                },
                Feature {
                    name: "origin".to_owned(),
                    encoding: category(&["EWR", "JFK"]),
                },
            ],
            tensor: "predict".to_owned(),
            ..Signature::default()
        };
        let features = [
            RawFeature {
                name: "temp".to_owned(),
                values: Values::Number(vec![Some(1.5), None, Some(3.0)]),
            },
            RawFeature {
                name: "origin".to_owned(),
                values: Values::Category(vec![
                    Some("JFK".to_owned()),
                    Some("XXX".to_owned()),
                    None,
                ]),
            },
        ];
        let tensor = Tensor::encode(&signature, &features);
        assert_eq!((tensor.width, tensor.rows()), (2, 3));
        assert_eq!(&tensor.data[..2], [1.5, 1.0]);
        assert!(tensor.data[2].is_nan());
        assert_eq!(&tensor.data[3..], [-1.0, 3.0, -1.0]);
    }

    #[test]
    fn a_vector_is_as_many_columns_as_it_has_numbers() {
        let signature = r#"{"inputs": [{"name": "x", "type": "Number"}, {"name": "v", "type": "Vector", "length": 2}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        let Encoding::Vector { length } = signature.inputs[1].encoding else {
            panic!("it is a vector")
        };
        let features = [
            RawFeature {
                name: "x".to_owned(),
                values: Values::Number(vec![Some(1.0), Some(2.0)]),
            },
            RawFeature {
                name: "v".to_owned(),
                values: Values::Vector {
                    length,
                    values: vec![Some(vec![0.5, -0.5]), None],
                },
            },
        ];
        let tensor = Tensor::encode(&signature, &features);
        assert_eq!((tensor.width, tensor.rows(), signature.width()), (3, 2, 3));
        assert_eq!(&tensor.data[..4], [1.0, 0.5, -0.5, 2.0]);
        assert!(tensor.data[4].is_nan() && tensor.data[5].is_nan());
        let none = r#"{"inputs": [{"name": "v", "type": "Vector", "length": 0}]}"#;
        assert!(serde_json::from_str::<Signature>(none).is_err());
    }
}
