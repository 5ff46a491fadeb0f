// Package evidence is the one form of every check of the model against something else: a predicted value, a reference, an error, a
// tolerance and a verdict. The checks themselves live in packages of their own and return a Report; the command line and the page of
// results/validation show it.
//
// A miss stays in the table, with what is known about it. Three kinds of rows decide nothing: references whose source nobody has
// verified, values that parameters were fitted on, and rows that could not be run.
package evidence
