// Applies .NET patterns and replacements: lines of pattern, replacement and text in base64 in; `E` for a pattern that
// .NET refuses, `-` for no match, `=` and the result in base64 out.
using System;
using System.Text;
using System.Text.RegularExpressions;

class Oracle
{
    static string Read(string text)
    {
        return Encoding.UTF8.GetString(Convert.FromBase64String(text.Substring(1)));
    }

    static void Main()
    {
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            string[] parts = line.Split(' ');
            try
            {
                var regex = new Regex(Read(parts[0]), RegexOptions.None, TimeSpan.FromSeconds(1));
                Match match = regex.Match(Read(parts[2]));
                Console.WriteLine(match.Success
                    ? "=" + Convert.ToBase64String(Encoding.UTF8.GetBytes(match.Result(Read(parts[1]))))
                    : "-");
            }
            catch (RegexMatchTimeoutException) { Console.WriteLine("T"); }
            catch (ArgumentException) { Console.WriteLine("E"); }
        }
    }
}
