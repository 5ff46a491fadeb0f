package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dmapath/bench"
	"dmapath/kernel/dma"
	"dmapath/platform"
)

// complete offers words for a flag's value; of a flag that takes a list, for what follows the last comma.
func complete(cmd *cobra.Command, flag string, words []string) {
	completeWith(cmd, flag, func(string) []string { return words }, cobra.ShellCompDirectiveNoFileComp)
}

// completeWith offers what words returns for what has been typed of the value.
func completeWith(cmd *cobra.Command, flag string, words func(typed string) []string, directive cobra.ShellCompDirective) {
	_, list := cmd.Flag(flag).Value.(pflag.SliceValue)
	list = list && flag != "set" // whose values may hold commas
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := ""
		if i := strings.LastIndexByte(typed, ','); list && i >= 0 {
			before, typed = typed[:i+1], typed[i+1:]
		}
		var offered []string
		for _, w := range words(typed) {
			if strings.HasPrefix(w, typed) {
				offered = append(offered, before+w)
			}
		}
		return offered, directive
	})
	if err != nil {
		panic(err)
	}
}

// completeEverywhere completes the flags and arguments that mean the same in every command and have no words of their own.
func completeEverywhere(c *cobra.Command) {
	words := func(list []string) func(string) []string { return func(string) []string { return list } }
	for _, f := range []struct {
		flag      string
		words     func(typed string) []string
		directive cobra.ShellCompDirective
	}{
		// With ShellCompDirectiveDefault the shell offers files when no word fits.
		{"platform", words(platform.Names()), cobra.ShellCompDirectiveDefault},
		{"variant", words(variantWords()), cobra.ShellCompDirectiveDefault},
		{"backend", words(backendWords()), cobra.ShellCompDirectiveNoFileComp},
		{"cache", words(bench.Caches), cobra.ShellCompDirectiveNoFileComp},
		{"set", settingWords, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace},
		{"config", words(nil), cobra.ShellCompDirectiveDefault},
	} {
		if flag := c.Flags().Lookup(f.flag); flag == nil {
			continue
		}
		if _, own := c.GetFlagCompletionFunc(f.flag); !own {
			completeWith(c, f.flag, f.words, f.directive)
		}
	}
	if c.ValidArgsFunction == nil && strings.Contains(c.Use, "VARIANT") || c.Name() == "diff" {
		c.ValidArgsFunction = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			var offered []string
			for _, w := range variantWords() {
				if strings.HasPrefix(w, typed) {
					offered = append(offered, w)
				}
			}
			return offered, cobra.ShellCompDirectiveDefault
		}
	}
}

// variantWords are the names of calls and of whole drivers.
func variantWords() (words []string) {
	for _, v := range dma.Variants() {
		words = append(words, v.Name())
	}
	names, _ := dma.Aliases()
	return append(append(words, names...), bench.Drivers...)
}

func backendWords() (words []string) {
	for _, b := range platform.Backends {
		words = append(words, string(b))
	}
	return words
}

// settingWords are the keys of --set, and behind the = of a key what it may be, if that is one of some words.
func settingWords(typed string) (words []string) {
	key, _, value := strings.Cut(typed, "=")
	for _, k := range platform.Schema() {
		switch {
		case !value:
			words = append(words, k.Name+"=")
		case k.Name == key:
			for _, w := range k.Words {
				words = append(words, key+"="+w)
			}
		}
	}
	if !value {
		for _, k := range bench.ExperimentKeys() {
			words = append(words, "workload."+k+"=")
		}
	}
	return words
}
